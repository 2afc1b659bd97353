"""How a program for people behaves: what it prints where, what it exits with, how it explains what was typed wrong."""
