"""One small file for each noun of the command line, imported when it is used."""
