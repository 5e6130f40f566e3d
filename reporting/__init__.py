"""What is told: the daily report, its signature, and the verifier that anyone can run.

Pure over facts that the pool gathers; the only files touched are the signing key and the report to verify.
A report that does not reconcile is not built, and a published one never changes (invariant 7).
"""
