"""The admin site, and its pages of the work behind. Registers nothing: Django makes the site from here."""
