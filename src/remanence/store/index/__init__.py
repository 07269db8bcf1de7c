"""Dense vectors beside the database: int8 codes in mapped files, exact search, approximate search.

Everything here is derived from the database, addressed by row, and can be rebuilt from it.
"""
