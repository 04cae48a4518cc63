"""The command line. `main.py` puts the verbs together; each other module holds some of them."""
