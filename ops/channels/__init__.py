"""Where presses of buttons come in: the doors for Slack and Telegram. A press casts a vote as its presser; the gate alone decides."""
