"""Speeds of this engine on this computer: `make bench`. Figures in docs come from here and name the command."""
