"""A certificate as a PDF, to be filed or printed."""

from datetime import datetime
from typing import TYPE_CHECKING

from service.evidence.renderings.facts import Document, Table

if TYPE_CHECKING:
    from fpdf import FPDF

#: Shares of the width of the page, by the number of columns.
_WIDTHS = {2: (35, 65), 4: (22, 12, 14, 52)}

#: The standard fonts of PDF have the letters of Latin-1 only. Punctuation of this program's texts is replaced by these;
#: any other letter is shown by its number, as \u0436.
_REPLACEMENTS = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "≥": ">="}
)


def pdf(document: Document, at: datetime) -> bytes:
    """The PDF, with `at` as its creation date; the same bytes for the same document and date."""
    from fpdf import FPDF  # noqa: PLC0415

    paper = FPDF(format="A4")
    paper.set_creation_date(at)
    paper.set_title(_latin(document.title))
    paper.set_lang("en")
    paper.set_auto_page_break(auto=True, margin=15)
    paper.add_page()
    _heading(paper, document.title, size=14)
    _text(paper, document.lead, size=11)
    _heading(paper, "What this does not say")
    for limit in document.limits:
        _text(paper, f"- {limit}")
    for table in document.tables:
        _heading(paper, table.title)
        _table(paper, table)
        if table.note:
            _text(paper, table.note)
    return bytes(paper.output())


def _heading(paper: "FPDF", text: str, size: int = 12) -> None:
    paper.ln(3)
    paper.set_font("helvetica", style="B", size=size)
    paper.multi_cell(0, None, _latin(text), new_x="LMARGIN", new_y="NEXT")
    paper.ln(1)


def _text(paper: "FPDF", text: str, size: int = 9) -> None:
    paper.set_font("helvetica", size=size)
    paper.multi_cell(0, None, _latin(text), new_x="LMARGIN", new_y="NEXT")


def _table(paper: "FPDF", table: Table) -> None:
    has_headings = any(table.columns)
    paper.set_font("helvetica", size=8)
    with paper.table(
        col_widths=_WIDTHS[len(table.columns)],
        first_row_as_headings=has_headings,
        borders_layout="HORIZONTAL_LINES",
        text_align="LEFT",
    ) as grid:
        for row in [table.columns, *table.rows] if has_headings else table.rows:
            grid.row([_latin(cell) for cell in row])


def _latin(text: str) -> str:
    return text.translate(_REPLACEMENTS).encode("latin-1", "backslashreplace").decode("latin-1")
