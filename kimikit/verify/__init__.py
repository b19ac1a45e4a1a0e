"""Verify that a host is what it says.

Enter at ``run.verify``, whose table ``CHECKS`` lists the checks (``answering``,
``calling``, ``sampling``), and at ``same.same_model``; ``findings`` shows what came.
"""
