"""Commands that explain and check builds."""
