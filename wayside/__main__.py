"""`python -m wayside`: the same as the script `wayside`."""

from wayside.cli import main

main()
