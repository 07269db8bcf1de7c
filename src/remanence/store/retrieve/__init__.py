"""Parts of reading: what the question says, candidates, what speaks for each of them, and the order of the hits.

A question becomes a `Query`; candidates come from full text, from vectors and from the neighbours of the
best; each part turns candidates into one number per candidate and name; a weighted sum orders them, and each
hit can tell what its sum is made of. Nothing here looks at more than some hundred records at a time.
"""
