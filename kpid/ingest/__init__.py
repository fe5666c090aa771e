"""CRM to canonical tables: pull each source from its cursors into the warehouse."""
