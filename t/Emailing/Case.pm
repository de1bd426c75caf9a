# SPDX-License-Identifier: MIT
package Emailing::Case;

# Tests by the case that they show. What runs behind a line of the form below
# has the case in front of its name, so that t/fault/cases can tell whether it
# holds and what it takes, and a failure says which it is.
#
#   use Emailing::Case qw(case);
#   case 'P7';                        # of no case again: case '';

use strict;
use warnings;

use Exporter qw(import);
use Test2::API qw(test2_stack);
use Test::More ();

our @EXPORT_OK = qw(case);

my $present = '';

sub case {
    ($present) = @_;
    return;
}

test2_stack()->top->pre_filter(sub {
    my (undef, $event) = @_;
    $event->set_name("$present: " . ($event->name // ''))
        if $present ne '' && $event->isa('Test2::Event::Ok');
    return $event;
});

1;
