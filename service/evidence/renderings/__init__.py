"""Certificates as people read them: the facts of the signed statement, as a page or as a PDF."""
