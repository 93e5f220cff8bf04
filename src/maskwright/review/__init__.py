"""Review: what of a run is worth a person's look, a page to decide on it, and the lines that the log gets of it."""

from maskwright.review.agreement import Agreement, agreement
from maskwright.review.desk import Desk
from maskwright.review.drawing import Drawn
from maskwright.review.items import Item, Suggestion
from maskwright.review.queue import build_queue
from maskwright.review.reply import Reply
from maskwright.review.service import build_review
from maskwright.review.source import Reviewed
from maskwright.review.static import import_replies, write_static

__all__ = [
    "Agreement",
    "Desk",
    "Drawn",
    "Item",
    "Reply",
    "Reviewed",
    "Suggestion",
    "agreement",
    "build_queue",
    "build_review",
    "import_replies",
    "write_static",
]
