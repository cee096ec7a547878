"""Agreement: can the judge be believed?"""
