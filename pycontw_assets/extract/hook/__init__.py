"""KKTIX's webhook: read a delivery, and the small endpoint that takes it. A delivery is a hint and never the truth."""
