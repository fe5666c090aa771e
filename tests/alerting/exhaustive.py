"""Every sequence of five outcomes, with every choice of times and policies, against the naive model: ``make test-exhaustive``.

9^5 sequences x ``for`` {0, 2} x ``keep_firing_for`` {0, 2} x 4 no-data policies = 944,784 runs; and the seven outcomes
among which an alert may end at a new level: 7^5 x 16 = 268,912.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.alerting.models import POLICIES, policy_of, walk
from tests.alerting.naive import SETTLING, Naive


def main(length: int = 5) -> int:
    """Run all of it; returns the number of sequences."""
    total = 0
    for for_, keep, no_data in itertools.product((0, 2), (0, 2), POLICIES):
        done = walk(policy_of(for_, keep, no_data), Naive(for_, keep, no_data), length)
        done += walk(policy_of(for_, keep, no_data), Naive(for_, keep, no_data), length, SETTLING)
        total += done
        print(f"for {for_}x  keep_firing_for {keep}x  no_data {no_data:<7} {done:>9,} sequences agree", flush=True)
    print(f"{total:,} in all")
    return total


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
