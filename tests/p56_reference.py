"""ITU-T P.56 (12/2011), clause 8.2, method B, step by step as it is written there."""

import math


def active_level(x, rate):
    """Active level in dB re RMS 1.0 and activity factor of a list or array of samples."""
    t, time_constant, hang, margin = 1 / rate, 0.03, 0.2, 15.9
    g = math.exp(-t / time_constant)
    hangover = math.ceil(hang / t - 1e-9)
    thresholds = [2.0**-j for j in range(1, 25)][::-1]
    activity = [0] * len(thresholds)
    since = [hangover] * len(thresholds)
    p = q = squares = 0.0
    for sample in map(float, x):
        squares += sample * sample
        p = g * p + (1 - g) * abs(sample)
        q = g * q + (1 - g) * p
        for j, c in enumerate(thresholds):
            if q >= c:
                activity[j] += 1
                since[j] = 0
            elif since[j] < hangover:
                activity[j] += 1
                since[j] += 1
    points = [
        (10 * math.log10(squares / a), 20 * math.log10(c))
        for a, c in zip(activity, thresholds, strict=True)
        if a
    ]
    above = below = None
    for point in points:
        if point[0] - point[1] <= margin:
            below = point
            break
        above = point
    # Halve the straight line between the two points until level and threshold differ by the margin.
    for _ in range(60):
        middle = (above[0] + below[0]) / 2, (above[1] + below[1]) / 2
        if middle[0] - middle[1] > margin:
            above = middle
        else:
            below = middle
    level = below[0]
    return level, squares / len(x) / 10 ** (level / 10)
