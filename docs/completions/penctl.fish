
# This file belongs to Evenkeel and is replaced by `evenkeel install`.
