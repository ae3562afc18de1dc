"""The pages that an operator keeps open. Rendered here, readable without JavaScript, in the same words as the API.

An application of its own, below `/dashboard`: its visitors sign in with an API key, its errors are pages.
"""
