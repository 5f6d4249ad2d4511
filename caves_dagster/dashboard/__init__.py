"""The shop manager's page: how the shop is doing, and whether the figures can be trusted.

figures.py     what the warehouse says of a shop and a period, by one statement
snapshots.py   the same with lag and validation, asked for once however many browsers are open
shared.py      what all browsers share, and what one is shown first
period.py  words.py  formats.py     what is chosen; French and English
server.py  files.py  ahead.py       Streamlit's server, and what makes a first page quick
charts.py  parts.py  parts.html     what a chart, a box, bars and a table look like; with `style.css`
sections.py  page.py                what is drawn; `page.py` is what Streamlit runs
"""
