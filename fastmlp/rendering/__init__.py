"""Records -> text: tables, progress, messages. Only here and in cli/ is anything printed. Computes nothing."""
