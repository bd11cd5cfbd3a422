"""send_email"""
