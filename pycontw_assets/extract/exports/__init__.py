"""The organisers' CSV exports of former editions, read into the same attendees that the KKTIX client yields. Pure.

A file that cannot be understood for sure is refused as a whole: its error names row, column and the fix, never a cell.
"""
