"""The dashboard: HTML pages for operators, rendered on the server and readable without JavaScript.

An application of its own, mounted below `/dashboard`: its users sign in with an API key, its errors are pages.
"""
