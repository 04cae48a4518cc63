"""What is measured in a document (one rule family a module) and the rules that decide on it (`rules.py`)."""
