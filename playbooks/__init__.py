"""The playbooks that come with Mendstream, one YAML file each; see docs/playbooks.md."""
