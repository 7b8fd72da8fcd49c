"""`kith contract`: whether what a third party reads and sends still holds for a version of Kith."""
