"""Renderings of certificates for people: the facts of the signed statement, as HTML or as PDF."""
