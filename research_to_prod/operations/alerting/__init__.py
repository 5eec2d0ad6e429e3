"""Signals: declared rules, judged with the market's hour and the book's exposure."""
