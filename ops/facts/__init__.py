"""What is known about an incident or an approval, for people: gathered once, shown by the CLI and told by the API."""
