"""Why events flow: one package per stage. A stage reads top-down as policy."""
