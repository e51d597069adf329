"""From alerts to incidents: what is one problem, how bad it is, and when it is over."""
