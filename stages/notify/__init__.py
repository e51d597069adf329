"""notify: tells people what happened and what is wanted of them, over every channel, each at its own pace."""
