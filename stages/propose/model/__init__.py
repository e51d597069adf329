"""A language model as a source of suggestions, without authority: what it may name, what it is told, and what becomes of its words.

`reach` is the rule of what it may name, `facts` what it is told, `prompt` how it is asked, `answer` what of its words is kept, `consult`
the budget and the cache, `source` all of it in order.
"""
