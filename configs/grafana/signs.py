"""The three questions of an operator (is work lost? is the money right? is the law kept?) as expressions.

A sign is one thing that makes the answer a bad one: 0 it is not there, 1 look at it today, 2 act now. Each is
an alarm too, of severity `warning` or `critical`, with its limit and patience, whose runbook says what to do.
A question is answered by its worst sign, and always has an answer: when nobody tells anything, the first sign
says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sign:
    """One bad sign, by expressions that are 1 when it is there and 0 when not, without labels."""

    alarm: str
    words: str
    look: str = ""
    act: str = ""
    """Where both are given, whoever must act must look too."""

    @property
    def expr(self) -> str:
        """0, 1 or 2, labelled for the reader and for the link."""
        value = (
            f"({self.look}) + ({self.act})" if self.look and self.act else self.look or f"2 * ({self.act})"
        )
        named = f'label_replace({value}, "sign", "{self.words}", "", "")'
        return f'label_replace({named}, "alarm", "{self.alarm.lower()}", "", "")'


def _nobody(role: str) -> str:
    return f'(count(dmpool_build_info{{role="{role}"}}) or vector(0)) == bool 0'


WORK: Final = (
    Sign("TargetDown", "no gateway tells anything", act=_nobody("gateway")),
    Sign("NoJob", "no new job", act="max(dmpool_job_age_seconds) > bool 60"),
    Sign(
        "NoJob",
        "no node gives templates",
        act="max(min by (instance) (dmpool_node_template_age_seconds)) > bool 60",
    ),
    Sign(
        "NodeWouldRefuseBlocks", "a node would refuse our block", act="min(dmpool_job_proposal_ok) == bool 0"
    ),
    Sign(
        "TipsDiverge", "nodes are on different tips", act="max(dmpool_node_tips_diverged_seconds) > bool 120"
    ),
    Sign(
        "NodeDown",
        "a node does not answer",
        look="min(max_over_time(dmpool_node_up[2m])) == bool 0",
        act="min(max by (instance) (max_over_time(dmpool_node_up[1m]))) == bool 0",
    ),
    Sign("SpoolFails", "the spool cannot be written", act="max(dmpool_spool_failing) == bool 1"),
    Sign("SpoolNotDraining", "the spool does not drain", look="max(dmpool_spool_oldest_seconds) > bool 120"),
    Sign(
        "AcknowledgedNotApplied",
        "acknowledged shares are not applied",
        look="max(dmpool_unapplied_oldest_seconds) > bool 300",
        act="max(dmpool_unapplied_oldest_seconds) > bool 1800",
    ),
    Sign(
        "RejectsHigh",
        "many shares are rejected",
        look="max(dmpool:rejects_ratio) > bool 0.02",
        act="max(dmpool:rejects_ratio) > bool 0.1",
    ),
    Sign(
        "BlockNotSubmitted",
        "a found block has no answer",
        act='max(min_over_time(dmpool_blocks{state="found"}[10m])) > bool 0',
    ),
)
MONEY: Final = (
    Sign("TargetDown", "no ledger tells anything", act=_nobody("ledger")),
    Sign(
        "NoActiveLedger", "no ledger is active", act="max(max_over_time(dmpool_ledger_active[2m])) == bool 0"
    ),
    Sign(
        "JournalDoesNotBalance", "the journal does not balance", act="min(dmpool_journal_balanced) == bool 0"
    ),
    Sign(
        "WalletBelowLiability",
        "coins are below what is owed",
        act="min_over_time((dmpool:wallet_cover_satoshis < bool 0)[15m:15s])",
    ),
    Sign(
        "WalletDiffers",
        "wallet and journal differ",
        look="min_over_time((dmpool:wallet_difference_satoshis != bool 0)[30m:15s])",
    ),
    Sign(
        "SettlerDown",
        "nobody looks after the payouts",
        look="max(max_over_time(dmpool_settler_up[10m])) == bool 0",
    ),
    Sign(
        "PayoutProblem",
        "a payout meets something wrong",
        act="max(min_over_time(dmpool_payout_problems[10m])) > bool 0",
    ),
    Sign(
        "PayoutWaitsForSignature",
        "a payout waits to be signed",
        look='max(dmpool_payout_oldest_seconds{state="reserved"}) > bool 86400',
    ),
    Sign(
        "PayoutNotConfirmed",
        "a payout is not in a block",
        look='max(dmpool_payout_oldest_seconds{state=~"signed|sent"}) > bool 43200',
    ),
)
LAW: Final = (
    Sign("TargetDown", "nobody tells of the register", act=_nobody("ledger")),
    Sign(
        "LicenceEnforcementOff",
        "unregistered machines may mine",
        look='max(dmpool_licence_enforcement{mode=~"monitor|quarantine"}) == bool 1',
        act='max(dmpool_licence_enforcement{mode="monitor"}) == bool 1',
    ),
    Sign(
        "RegisterOld",
        "the register is old",
        look="max(min_over_time(dmpool_register_age_seconds[1m])) > bool 30",
    ),
    Sign(
        "ReportBlocked",
        "a report cannot be built",
        act="max(min_over_time(dmpool_report_blocked[5m])) == bool 1",
    ),
    Sign("ReportLate", "a day is not reported", look="max(dmpool_report_behind_seconds) > bool 7200"),
    Sign("ReportNotVerified", "a report does not verify", act="min(dmpool_report_verified) == bool 0"),
    Sign(
        "ArchiveBehind", "the share archive is behind", look="max(dmpool_archive_behind_seconds) > bool 7200"
    ),
    Sign("IncomeFormLate", "a monthly form is late", act="max(dmpool_income_late) > bool 0"),
    Sign("IncomeFormCorrected", "a submitted form is outdated", look="max(dmpool_income_outdated) > bool 0"),
    Sign(
        "SaleShort", "miners sold too little", look='max(dmpool_sale_short_miners{period="ended"}) > bool 0'
    ),
)
QUESTIONS: Final = {"Work": WORK, "Money": MONEY, "Law": LAW}


def each(signs: tuple[Sign, ...]) -> str:
    """A series for each sign."""
    return "\nor ".join(sign.expr for sign in signs)


def worst(signs: tuple[Sign, ...]) -> str:
    """One series: the answer."""
    return f"max(\n{each(signs)}\n)"
