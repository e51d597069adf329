"""The stores: migrations in plain SQL, and one module with its queries for each store."""
