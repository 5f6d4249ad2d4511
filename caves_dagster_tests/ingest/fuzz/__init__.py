"""Contract fuzzing: payloads (`payloads.py`, of `mutations.py`) held against an independent reading of them
(`reading.py`).

`../test_fuzz.py` lands them and reads them back.
"""
