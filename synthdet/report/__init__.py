"""A run as one page to look at: self-contained, without network, from a file.

read     output, report, masks and truth -> one `Item` a row
judged   figures that need the truth
charts   figures -> SVG
images   input images and maps -> thumbnails that fit the page's budget
page     all of it -> HTML
"""

from synthdet.report.page import write_page
from synthdet.report.read import Item, Run, add_provenance, assemble, find_masks, read_run

__all__ = ["Item", "Run", "add_provenance", "assemble", "find_masks", "read_run", "write_page"]
