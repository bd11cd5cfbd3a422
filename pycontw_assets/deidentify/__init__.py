"""deidentify"""
