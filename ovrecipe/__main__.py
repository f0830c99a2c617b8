"""`python -m ovrecipe`."""

from ovrecipe.cli.main import main

if __name__ == "__main__":
    main()
