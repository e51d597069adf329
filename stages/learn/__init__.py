"""learn: what really happened changes how much the next such action is trusted, and is kept to be found again."""
