"""What a run leaves behind and the pages made of it: run folders, Allure results, comparison page."""
