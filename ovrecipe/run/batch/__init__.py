"""Files of prompts, answered many at once: lines in, lines out, in the same order.

`lines` reads what a line asks and writes what is answered to it; `work` asks an engine; `resume`
finds where an output that was cut short goes on.
"""
