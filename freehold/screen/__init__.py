"""What is in this text or row?"""
