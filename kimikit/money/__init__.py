"""Know and limit what calls cost: prices, tokens, the ledger, and budgets.

Enter at ``ledger.Ledger``, which keeps every call in one SQLite file (``store``,
``rows``, ``queries``, ``views``). ``prices`` says what a call costs, ``tokens`` and
``estimates`` how many tokens it has, ``bills`` both before it is made, and ``budget``
holds a limit. ``jobs`` and ``batch_rows`` keep what batches have bought.
"""
