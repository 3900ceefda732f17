"""What people read: tables, figures and pages, made from results/ alone."""
