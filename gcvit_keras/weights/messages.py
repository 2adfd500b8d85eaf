"""Messages to the user while weights are loaded."""

import logging
import sys

import keras


def tell(message):
    """Says one line on standard error.

    After `keras.config.disable_interactive_logging()` it goes to the logger
    `gcvit_keras`, as Keras's own messages go to absl's.
    """
    if keras.config.is_interactive_logging_enabled():
        print(message, file=sys.stderr, flush=True)
    else:
        logging.getLogger("gcvit_keras").info(message)
