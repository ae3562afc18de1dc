"""Models as other programs know them: what their files say, and files that they can read."""
