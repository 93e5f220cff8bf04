"""The audit: what a data folder holds, and what is wrong with it, before anything is learned from it."""

from maskwright.audit.findings import FINDINGS_SCHEMA, Audit, audit_index

__all__ = ["FINDINGS_SCHEMA", "Audit", "audit_index"]
