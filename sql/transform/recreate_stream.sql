-- A stream that lost its place starts again with every row its table holds. Those were there before change nothing.
CREATE OR REPLACE STREAM {{ stream }}
    ON TABLE {{ source }}
    APPEND_ONLY = TRUE
    SHOW_INITIAL_ROWS = TRUE
    COMMENT = 'Rows of {{ source }} not yet passed on; made anew by a rebuild';
