/* parry: attacks, honest evaluation and hardening of image classifiers. */
#ifndef PARRY_PARRY_H
#define PARRY_PARRY_H

#include <parry/status.h>
#include <parry/context.h>
#include <parry/options.h>
#include <parry/image.h>
#include <parry/precision.h>
#include <parry/dataset.h>
#include <parry/preprocess.h>
#include <parry/model.h>
#include <parry/classes.h>
#include <parry/criterion.h>
#include <parry/attack.h>
#include <parry/train.h>
#include <parry/evaluate.h>
#include <parry/figure.h>
#include <parry/noise.h>

#endif
